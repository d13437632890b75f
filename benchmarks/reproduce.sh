#!/bin/sh
# From nothing to the committed rows: data, checkpoint, episodes of every agent, open-loop errors, speed.
#
#   sh benchmarks/reproduce.sh [step ...]     steps: data train agents few open_loop speed tables (default: all)
#   sh benchmarks/reproduce.sh fidelity trained_agents trained_really
#   sh benchmarks/reproduce.sh memory_data memory_train memory_rows memory_ablation
#   sh benchmarks/reproduce.sh fifty_round from_ten from_nothing sac_rounds improve_rows own
#   RLBENCH_DATA="DIR DIR" sh benchmarks/reproduce.sh rlbench_data rlbench_train rlbench_open_loop
#
# RLBENCH_DATA names folders, with blanks between, of recorded RLBench episodes (<task>.npz, <task>_front.mp4,
# <task>_wrist.mp4), which are for non-commercial research only, and so is what is trained on them.
# Every step resumes where it was stopped. WORK (default runs/reproduce) takes about 1 GB.
# One GPU and 16 cores are what the recipe is made for; it runs anywhere.
set -eu
cd "$(dirname "$0")/.."
WORK=${WORK:-runs/reproduce}
CHECKPOINT=${CHECKPOINT:-$WORK/checkpoint}
RLBENCH_CHECKPOINT=${RLBENCH_CHECKPOINT:-$WORK/rlbench-checkpoint}

data() {
    sfvgen-plan collect --suite metaworld-10 --episodes 400 --decisions 40 --out "$WORK/ten"
    sfvgen-plan collect --suite metaworld-50 --episodes 130 --out "$WORK/fifty"
}

train() { # ten tasks from nothing; then all fifty from those weights: that is the bundled checkpoint
    sfvgen-plan train --data "$WORK/ten" --out "$WORK/first"
    sfvgen-plan train --data "$WORK/fifty" --checkpoint "$WORK/first" --out "$CHECKPOINT" train=default \
        train.autoencoder.fit.steps=1200 train.autoencoder.fit.warmup=50 train.video.fit.steps=6000 train.video.learning.dream_from=1000
}

play() { # suite, agent, settings ...
    suite=$1 agent=$2
    shift 2
    sfvgen-plan eval --suite "$suite" --agent "$agent" --label "$agent" --checkpoint "$CHECKPOINT" \
        --out "$WORK/$suite-$agent" "$@"
    python -m sfvgen_plan.benchmarks.results merge "$WORK/$suite-$agent" --into "benchmarks/rows/$suite.csv"
}

agents() {
    for agent in random expert prior default; do
        play metaworld-50 "$agent" --episodes 10
        play avdc11-v3 "$agent"
    done
    play metaworld-50 reader --episodes 10 # the weakest ten tasks say where they are lost
    for agent in random expert prior default cem oracle; do play metaworld-10 "$agent"; done
}

few() {
    play metaworld-50 prior10 --episodes 10
}

open_loop() {
    # Fresh seeds, all kinds of episodes.
    sfvgen-plan collect --suite metaworld-50 --episodes 10 --seed 700000 --out "$WORK/fresh"
    python -m sfvgen_plan.benchmarks.fidelity.open_loop --data "$WORK/fresh" --all --checkpoint "$CHECKPOINT"
}

fidelity() { # eleven policies
    mkdir -p benchmarks/rows/fidelity
    sfvgen-plan fidelity --checkpoint "$CHECKPOINT" --episodes 10 --out "$WORK/fidelity"
    for name in fidelity.csv fidelity.md scatter.svg; do
        cp "$WORK/fidelity/$name" benchmarks/rows/fidelity/
    done
}

trained_agents() { # SAC in imagination alone, then in the real simulator, and what it scores in both
    for task in reach-v3 drawer-close-v3 handle-press-v3 coffee-button-v3 window-close-v3 faucet-open-v3; do
        agent=$WORK/sac-$task
        sfvgen-plan train-agent --task "$task" --algo sac --checkpoint "$CHECKPOINT" --out "$agent" decisions=98000 \
            num_envs=128 horizon=30 algo.gradient_steps=32 algo.learning_starts=6400
        python -m sfvgen_plan.benchmarks.results merge "$agent/real" --into benchmarks/rows/metaworld-10.csv
        sfvgen-plan fidelity --task "$task" --agent "sb3:$agent/agent.zip" --episodes 20 \
            --checkpoint "$CHECKPOINT" --out "$agent/gap"
    done
    awk -F, -v OFS=, 'NR == 1 { print } FNR > 1 && $1 ~ /^sb3:/ { $1 = "sac-imagined"; print }' \
        "$WORK"/sac-*/gap/fidelity.csv > benchmarks/rows/fidelity/agents.csv
}

trained_really() { # the same tasks and algorithm in the real simulator, with as many decisions of a task as the data has
    for task in reach-v3 drawer-close-v3 handle-press-v3 coffee-button-v3 window-close-v3 faucet-open-v3; do
        agent=$WORK/sac-real-$task
        sfvgen-plan train-agent --task "$task" --algo sac --checkpoint "$CHECKPOINT" --out "$agent" real=true \
            decisions=16384 num_envs=32 horizon=30 algo.gradient_steps=32 algo.learning_starts=1600
        python -m sfvgen_plan.benchmarks.results merge "$agent/real" --into benchmarks/rows/metaworld-10.csv
    done
}

fifty_round() { # the bundled checkpoint goes on with hard tasks, then with its planner's own play; the planner and its prior after that
    sfvgen-plan collect --suite metaworld-50 --episodes 25 --seed 150200 --out "$WORK/fifty-all"
    sfvgen-plan collect --episodes 150 --seed 150000 --out "$WORK/fifty-hard" \
        --task handle-pull-side-v3 --task assembly-v3 --task soccer-v3 --task pick-out-of-hole-v3 \
        --task push-back-v3 --task reach-v3 --task box-close-v3 --task shelf-place-v3 \
        --task dial-turn-v3 --task hand-insert-v3 --task pick-place-v3
    python -c 'import sys, pathlib, sfvgen_plan.data.episodes as episodes, sfvgen_plan.benchmarks.protocols as protocols
out, *parts = map(pathlib.Path, sys.argv[1:])
episodes.join_datasets(out, parts, protocols.load_protocol("metaworld-50").tasks)' "$WORK/fifty-more" "$WORK/fifty-all" "$WORK/fifty-hard"
    sfvgen-plan improve --suite metaworld-50 --checkpoint metaworld50 --data "$WORK/fifty-more" --out "$WORK/fifty-round" rounds=1 \
        episodes=10 imagined=1 steps=3000 autoencoder_steps=0 advice=true train.autoencoder.fit.steps=0 train.video.fit.steps=4000 \
        train.video.fit.warmup=200 train.video.fit.learning_rate=4e-4 train.video.learning.dream_from=0
    sfvgen-plan eval --suite metaworld-50 --agent default --label improved --episodes 10 \
        --checkpoint "$WORK/fifty-round/1/checkpoint" --out "$WORK/improved"
    sfvgen-plan eval --suite metaworld-50 --agent prior --label improved-prior --episodes 10 \
        --checkpoint "$WORK/fifty-round/1/checkpoint" --out "$WORK/improved-prior"
    python -m sfvgen_plan.benchmarks.results merge "$WORK/improved" "$WORK/improved-prior" --into benchmarks/rows/metaworld-50.csv
}

from_ten() { # ten expert episodes a task, then 198 own ones: the prior before, the planner after
    sfvgen-plan collect --suite metaworld-10 --episodes 40 --decisions 40 --out "$WORK/ten-data"
    sfvgen-plan improve --suite metaworld-10 --data "$WORK/ten-data" --label "metaworld-10 from ten" --out "$WORK/from-ten" \
        demonstrations=10 rounds=3 episodes=66 train.autoencoder.fit.steps=1500 train.video.fit.steps=3000 \
        train.video.learning.dream_from=1000
    (CHECKPOINT=$WORK/from-ten/0/checkpoint && play prior10 prior)
    (CHECKPOINT=$WORK/from-ten/3/checkpoint && play improved10 default)
}

from_nothing() { # random play, then rounds
    sfvgen-plan improve --suite metaworld-10 --label "metaworld-10 from nothing" --out "$WORK/from-nothing" rounds=4 episodes=50 \
        train.autoencoder.fit.steps=1500 train.video.fit.steps=3000 train.video.learning.dream_from=1000
    (CHECKPOINT=$WORK/from-nothing/4/checkpoint && play improved0 default)
}

sac_rounds() { # SAC in imagination, while the model learns from its play
    for task in reach-v3 drawer-close-v3 handle-press-v3 coffee-button-v3 window-close-v3 faucet-open-v3; do
        run=$WORK/sac-rounds-$task
        sfvgen-plan improve --task "$task" --algo sac --checkpoint "$CHECKPOINT" --data "$WORK/data" --out "$run" rounds=3 \
            train.autoencoder.fit.steps=0 train.video.fit.steps=0 autoencoder_steps=0 steps=500 imagine.decisions=50000 \
            imagine.num_envs=128 imagine.horizon=30 algo.gradient_steps=32 algo.learning_starts=6400
        sfvgen-plan eval --task "$task" --agent "sb3:$run/3/agent/agent.zip" --label sac-rounds --episodes 20 \
            --checkpoint "$run/2/checkpoint" --out "$run/scored"
        python -m sfvgen_plan.benchmarks.results merge "$run/scored" --into benchmarks/rows/metaworld-10.csv
    done
}

improve_rows() {
    awk 'NR == 1 || FNR > 1' "$WORK"/fifty-round/improve.csv "$WORK"/from-ten/improve.csv "$WORK"/from-nothing/improve.csv \
        "$WORK"/sac-rounds-*/improve.csv > benchmarks/rows/improve.csv
}

swing() { # agent, what its rows call it, checkpoint, settings ...
    agent=$1 label=$2 model=$3
    shift 3
    sfvgen-plan eval --task gym:Pendulum-v1 --checkpoint "$model" --agent "$agent" --label "$label" --episodes 20 \
        --out "$WORK/swing-$label" "$@"
    python -m sfvgen_plan.benchmarks.results merge "$WORK/swing-$label" --into benchmarks/rows/own/pendulum.csv
}

own() { # Pendulum from random play, before and after a round of its own play: on two CPU cores, and with MARK=-gpu on a GPU
    sfvgen-plan collect --task gym:Pendulum-v1 --out "$WORK/swing" --episodes 250 --decisions 50 --size 32 --repeat 4
    sfvgen-plan train --data "$WORK/swing" --out "$WORK/swing-model" train=small 'train.model.autoencoder_widths=[8,16,32,64]' \
        train.autoencoder.fit.steps=400 train.video.fit.steps=1200
    sfvgen-plan improve --task gym:Pendulum-v1 --checkpoint "$WORK/swing-model" --data "$WORK/swing" --out "$WORK/swing-rounds" \
        rounds=1 episodes=24 imagined=1 noise=0.2 steps=1200 autoencoder_steps=0 train=small train.video.learning.dream_from=100 \
        agent.prior=none agent.horizon=6 agent.sigma=1 agent.temperature=0.005
    swing random random "$WORK/swing-model"
    swing default "default${MARK:-}" "$WORK/swing-model" \
        agent.prior=none agent.horizon=6 agent.sigma=1 agent.temperature=0.005
    swing default "improved${MARK:-}" "$WORK/swing-rounds/1/checkpoint" \
        agent.prior=none agent.horizon=6 agent.sigma=1 agent.temperature=0.005
}

memory_data() {
    sfvgen-plan collect --suite memory --episodes 600 --out "$WORK/memory-data"
}

memory_train() { # what sub-goals mean, in short windows and from frames alone; then the two kinds of memory
    sfvgen-plan train --data "$WORK/memory-data" --checkpoint metaworld50 --out "$WORK/memory-first" train=default \
        train.autoencoder.fit.steps=600 train.video.fit.steps=6000 train.video.learning.dream_from=900 train.video.learning.alone=4
    for kind in lora recall; do
        sfvgen-plan train --data "$WORK/memory-data" --checkpoint "$WORK/memory-first" --out "$WORK/memory-$kind" train=memory \
            train.model.transformer.memory=$kind train.autoencoder.fit.steps=0 train.video.fit.steps=2500 train.video.learning.dream_from=600
    done
}

memory_ablation() { # the paper's, and dreams of 1,000 decisions
    sfvgen-plan train --data "$WORK/memory-data" --out "$WORK/memory-no-loop" train=memory train.video.learning.loop=false
    sfvgen-plan bench memory --checkpoint "$WORK/memory-lora" --no-loop "$WORK/memory-no-loop" --part ablation --out benchmarks/rows
    sfvgen-plan bench memory --checkpoint "$WORK/memory-lora" --checkpoint "$WORK/memory-recall" --part drift --out benchmarks/rows
}

memory_rows() { # beside the rows that are there
    sfvgen-plan bench memory --checkpoint "$WORK/memory-lora" --checkpoint "$WORK/memory-recall" --out benchmarks/rows
    sfvgen-plan bench memory --checkpoint "$WORK/memory-lora" --checkpoint "$WORK/memory-recall" --part cue --agent prior \
        --out benchmarks/rows
    sfvgen-plan train-agent --task memory/cue --checkpoint "$WORK/memory-lora" --out "$WORK/cue-ppo" --episodes 0 \
        horizon=60 algo.n_steps=60 algo.batch_size=480
    sfvgen-plan bench memory --checkpoint "$WORK/memory-lora" --part cue --agent "sb3:$WORK/cue-ppo/agent.zip" \
        --label ppo --out benchmarks/rows
}

recorded() { # split, folder to make
    [ ! -d "$2" ] || return 0
    split=$1 out=$2
    set --
    for folder in ${RLBENCH_DATA:?is not set: give the folders of the recorded episodes}; do set -- "$@" --from "$folder"; done
    sfvgen-plan collect "$@" --split "$split" --out "$out"
}

rlbench_data() {
    recorded train "$WORK/rlbench-data"
}

rlbench_train() {
    sfvgen-plan train --data "$WORK/rlbench-data" --out "$RLBENCH_CHECKPOINT" train=rlbench
}

rlbench_open_loop() { # of the test split, 20 decisions
    recorded test "$WORK/rlbench-test"
    python -m sfvgen_plan.benchmarks.fidelity.open_loop --checkpoint "$RLBENCH_CHECKPOINT" \
        --decisions 20 --out benchmarks/rows/open_loop_rlbench.csv --data "$WORK/rlbench-test"
}

speed() {
    python -m sfvgen_plan.benchmarks.speed
}

tables() {
    python -m sfvgen_plan.benchmarks.report.readme
}

[ $# -gt 0 ] || set -- data train agents few open_loop speed tables
for step; do
    echo "== $step" >&2
    "$step"
done
