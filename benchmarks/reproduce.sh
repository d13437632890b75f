#!/bin/sh
# From nothing to the committed rows: data, checkpoint, episodes of every agent, open-loop errors, speed.
#
#   sh benchmarks/reproduce.sh [step ...]     steps: data train agents few open_loop speed tables (default: all)
#   sh benchmarks/reproduce.sh avdc_data avdc_train avdc_rows fidelity trained_agents trained_really
#   sh benchmarks/reproduce.sh memory_data memory_train memory_loops memory_rows memory_experiments
#   RLBENCH_DATA=DIR sh benchmarks/reproduce.sh rlbench_data rlbench_train rlbench_publish rlbench_open_loop
#
# RLBENCH_DATA is a folder of recorded, action-labelled RLBench episodes (<task>.npz, <task>_front.mp4), which are for
# non-commercial research only, and so is what is trained on them. The other steps don't need it.
# Every step resumes where it was stopped. WORK (default runs/reproduce) takes about 1 GB.
# One GPU and 16 cores are what the recipe is made for; it runs anywhere.
set -eu
cd "$(dirname "$0")/.."
WORK=${WORK:-runs/reproduce}
CHECKPOINT=${CHECKPOINT:-$WORK/checkpoint}
ROWS=benchmarks/rows/metaworld-10.csv
AVDC_CHECKPOINT=${AVDC_CHECKPOINT:-$WORK/avdc-checkpoint}
RLBENCH_CHECKPOINT=${RLBENCH_CHECKPOINT:-$WORK/rlbench-checkpoint}

data() {
    sfvgen-plan collect --suite metaworld-10 --episodes 400 --decisions 40 --out "$WORK/data"
}

train() {
    sfvgen-plan train --data "$WORK/data" --out "$CHECKPOINT"
}

play() { # label, agent, settings ...
    label=$1 agent=$2
    shift 2
    sfvgen-plan eval --suite metaworld-10 --agent "$agent" --label "$label" --checkpoint "$CHECKPOINT" \
        --out "$WORK/$label" --resume "$@"
    python -m sfvgen_plan.benchmarks.results merge "$WORK/$label" --into "$ROWS"
}

agents() {
    for agent in random expert prior default cem oracle; do play "$agent" "$agent"; done
}

few() {
    for agent in prior10 default10; do play "$agent" "$agent"; done
}

open_loop() {
    # Fresh seeds, all kinds of episodes; one denoising step is the most exact.
    sfvgen-plan collect --suite metaworld-10 --episodes 10 --decisions 40 --seed 700000 --out "$WORK/fresh"
    python -m sfvgen_plan.benchmarks.fidelity.open_loop --data "$WORK/fresh" --all --sampler-steps 1 --checkpoint "$CHECKPOINT"
}

avdc_data() {
    sfvgen-plan collect --suite avdc11-v3 --episodes 250 --decisions 45 --out "$WORK/avdc-data"
}

avdc_train() { # all stages go on from the main checkpoint
    sfvgen-plan train --data "$WORK/avdc-data" --checkpoint "$CHECKPOINT" --out "$AVDC_CHECKPOINT" add=tasks \
        train.autoencoder.fit.steps=400 train.denoiser.fit.steps=1200 train.denoiser.windows.dream_from=300 \
        train.heads.fit.steps=1200 train.prior.fit.steps=3000 train.prior10.fit.steps=600 train.inverse.fit.steps=0
}

avdc_rows() {
    for agent in prior default; do
        sfvgen-plan eval --suite avdc11-v3 --agent "$agent" --checkpoint "$AVDC_CHECKPOINT" --out "$WORK/avdc-$agent" --resume
        python -m sfvgen_plan.benchmarks.results merge "$WORK/avdc-$agent" --into benchmarks/rows/avdc11-v3.csv
    done
}

fidelity() { # one denoising step, eleven policies
    sfvgen-plan fidelity --checkpoint "$CHECKPOINT" --episodes 10 sampler_steps=1 --out "$WORK/fidelity"
    for name in fidelity.csv fidelity.json fidelity.md scatter.svg drift.svg; do
        cp "$WORK/fidelity/$name" benchmarks/rows/fidelity/
    done
}

trained_agents() { # SAC in imagination alone, then in the real simulator, and what it scores in both
    for task in reach-v3 drawer-close-v3 handle-press-v3 coffee-button-v3 window-close-v3 faucet-open-v3; do
        agent=$WORK/sac-$task
        sfvgen-plan train-agent --task "$task" --algo sac --checkpoint "$CHECKPOINT" --out "$agent" decisions=98000 \
            num_envs=128 horizon=30 sampler_steps=1 algo.gradient_steps=32 algo.learning_starts=6400
        python -m sfvgen_plan.benchmarks.results merge "$agent/real" --into "$ROWS"
        sfvgen-plan fidelity --task "$task" --agent "sb3:$agent/agent.zip" --episodes 20 sampler_steps=1 \
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
        python -m sfvgen_plan.benchmarks.results merge "$agent/real" --into "$ROWS"
    done
}

memory_data() { # the loop has episodes of its own
    sfvgen-plan collect --suite memory --episodes 600 --out "$WORK/memory-data"
    sfvgen-plan collect --suite memory --episodes 120 --seed 400000 --out "$WORK/memory-loop-data"
}

memory_train() {
    sfvgen-plan train --data "$WORK/memory-data" --out "$WORK/memory-base" train=memory
    [ -d "$WORK/memory-encoder" ] ||
        python -m sfvgen_plan.metrics.train_encoder --data "$WORK/memory-loop-data" --out "$WORK/memory-encoder" --steps 2000
}

memory_loops() { # what is learnt, and how, says configs/row; no_loop shares the loop without memory
    for row in full no_temp_lora original_temp_lora no_local_rule no_chunk_input; do
        sfvgen-plan train --data "$WORK/memory-loop-data" --checkpoint "$WORK/memory-base" --out "$WORK/memory-$row" \
            loop=slowfast row="$row" loop.fit.steps=400 loop.episodes=128 loop.passes=4
    done
}

memory_rows() { # with one denoising step, as open_loop
    for row in full no_loop no_temp_lora original_temp_lora no_local_rule no_chunk_input; do
        looped=$WORK/memory-$row
        [ "$row" != no_loop ] || looped=$WORK/memory-no_temp_lora
        sfvgen-plan bench memory --part revisit --row "$row" --checkpoint "$looped" --encoder "$WORK/memory-encoder" --videos 0 \
            sampler_steps=1 --out "$WORK/memory-rows"
        sfvgen-plan bench memory --part return --row "$row" --checkpoint "$looped" --agent video --out "$WORK/memory-rows" \
            agent.sampler_steps=1
    done
    sfvgen-plan bench memory --part revisit --row full --checkpoint "$WORK/memory-full" --without "$WORK/memory-no_temp_lora" \
        --encoder "$WORK/memory-encoder" --videos 3 sampler_steps=1 --out "$WORK/memory-rows"
    cp "$WORK"/memory-rows/memory_*.csv "$WORK"/memory-rows/memory_*.json benchmarks/rows/
}

memory_experiments() { # settings on seeds that the tables don't use; cost; drift
    sweep() { python -m sfvgen_plan.benchmarks.memory.sweep "$@" --checkpoint "$WORK/memory-full"; }
    for change in learning_rate=1e-3 learning_rate=1e-2 steps=1 rank=8 window=4 log_mean=2 'targets=[up_blocks.*.to_v]'; do
        sweep settings "$change" --sampler-steps 1
    done
    sweep settings --row full --row original_temp_lora --row no_local_rule --sampler-steps 1
    for steps in 3 50; do sweep cost --sampler-steps "$steps"; done
    sweep drift --sampler-steps 1
}

rlbench_data() { # their test split is left out
    [ -d "$WORK/rlbench-data" ] ||
        sfvgen-plan collect --from "${RLBENCH_DATA:?is not set: give the folder of the recorded episodes}" \
            --out "$WORK/rlbench-data"
}

rlbench_train() {
    sfvgen-plan train --data "$WORK/rlbench-data" --out "$RLBENCH_CHECKPOINT" train=rlbench
}

rlbench_publish() { # into the repository, but not into the package: without the state of the training
    mkdir -p checkpoints/rlbench
    tar -C "$RLBENCH_CHECKPOINT" --exclude ./training -c . | tar -C checkpoints/rlbench -x
}

rlbench_open_loop() { # of the test split, 20 decisions
    python -m sfvgen_plan.benchmarks.fidelity.open_loop --sampler-steps 1 --checkpoint "$RLBENCH_CHECKPOINT" \
        --decisions 20 --out benchmarks/rows/open_loop_rlbench.csv --data "${RLBENCH_DATA:?is not set: give the folder of the recorded episodes}"
}

speed() {
    python -m sfvgen_plan.benchmarks.speed
}

tables() {
    python -m sfvgen_plan.benchmarks.report.readme README.md benchmarks/rows
}

[ $# -gt 0 ] || set -- data train agents few open_loop speed tables
for step; do
    echo "== $step" >&2
    "$step"
done
