"""How true the learned simulator is: agreement with the real one over policies, and open-loop rollouts."""
