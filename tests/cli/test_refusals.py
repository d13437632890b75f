"""Bad input is one line and exit code 2, before anything is written. Mistyped options are told before torch is
imported, which takes many seconds."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

LONG = "x" * 300
EARLY = {
    "evall": "did you mean eval?",
    "--quiet eval": "'--quiet' comes before the verb; write `sfvgen-plan <verb> --quiet`",
    "doctor --jsn": "unknown option '--jsn'; did you mean --json?",
    "doctor extra": "unexpected argument 'extra'",
    "eval": "--task",
    "eval --task reach-v3 --suite metaworld-10": "not allowed with",
    "eval --task reach-v3 --episodes 0": "--episodes",
    "eval --task reach-v3 --store x.sqlite --out x": "not allowed with",
    "eval --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "imagine --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "play --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "fidelity --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train-agent --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train --data . --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train --data . train.video.fit.steps=-1": "train.video.fit.steps=-1 must be at least 0",
    "train --data . train.video.learning.dream=1.5": "train.video.learning.dream=1.5 must be at least 0",
    "train train=nope": "train='nope' is unknown",
    "fidelity --agent nope": "agent='nope' is unknown",
    "fidelity --agent expert": "acts on the true state",
    "fidelity --agent prior agent.candidates=3": "names no setting",
    "fidelity --task memory/return": "task='memory/return' is not covered by checkpoint='metaworld50'",
    "play --task memory/return": "memory tasks can't be played by hand",
    "play --task rlbench/reach_target": "RLBench can't be played by hand",
    "play --task reach-v4": "did you mean reach-v3",
    "play --task reach-v3 --port x": "'x' is not a whole number",
    "play --task reach-v3 sampler_steps=few": "sampler_steps takes a whole number",
    "bench memory": "required: --checkpoint",
    "bench memory --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "bench memory --checkpoint metaworld50 foo=1": "override 'foo=1' names no setting",
    "eval --suite ivideogpt6 --agent prior": "but protocol 'ivideogpt6' has",
    "bench memory --checkpoint metaworld50": "task='memory/revisit' is not covered by checkpoint='metaworld50'",
    "bench memory --checkpoint metaworld50 --part cue": "task='memory/cue' is not covered",
    f"eval --task reach-v3 --out {LONG}": "File name too long",
    "eval --task reach-v3 --video /dev/null/v.mp4": "video='/dev/null/v.mp4' can't be written to (Not a directory)",
    "imagine --task reach-v3 --out /dev/null/v.mp4": "out='/dev/null/v.mp4' can't be written to (Not a directory)",
    f"collect --task reach-v3 --out {LONG}/set": "File name too long",
    "collect --task reach-v3 --out /dev/null/set": "out='/dev/null/set' can't be written to (Not a directory)",
    "train --data . --out /dev/null/trained": "out='/dev/null/trained' can't be written to (Not a directory)",
    "train-agent --task reach-v3 --out /dev/null/ppo": "out='/dev/null/ppo' can't be written to (Not a directory)",
    "improve --task reach-v3 --out /dev/null/rounds": "out='/dev/null/rounds' can't be written to (Not a directory)",
    "leaderboard --html /dev/null/page.html": "html='/dev/null/page.html' can't be written to (Not a directory)",
}
"""Command lines, and what is said of them."""

MINE = "--checkpoint TINY --device cpu"
IMPROVE = "improve --out out --suite toy --agent prior --device cpu train=tiny steps=2"
LEARN = f"train-agent --task reach-v3 {MINE}"
FIDELITY = f"fidelity --task reach-v3 {MINE}"
LATER = {
    "eval --task raech-v3": "did you mean reach-v3",
    "eval --suite metaworld-11": "did you mean metaworld-10",
    "eval --task reach-v3 --agent defualt": "did you mean default",
    "eval --task reach-v3 --agent no.module:agent": "can't be imported",
    "eval --task reach-v3 --agent cem agent.candidtes=3": "agent.candidates",
    "eval --task reach-v3 candidates=3": "agent.key=value",
    "eval --task reach-v3 --agent random --seed 99999": "training data",
    "eval --task reach-v3 --agent random --store folder": "--out",
    "eval --task reach-v3 --agent random --video x.gif": ".mp4",
    "eval --task reach-v3 --agent random --store /dev/null/all.sqlite": "can't be written to",
    "eval --task reach-v3 --agent random --ray nonsense:1 --quiet": "nonsense",
    "eval --task reach-v3 --agent prior --device warp": "device='warp'",
    "eval --task reach-v3 --agent players:unusable": "not finite",
    f"eval --task push-v3 {MINE}": "push-v3",
    f"eval --suite metaworld-10 {MINE}": "push-v3",
    "eval --task reach-v3 --checkpoint CORNER2 --device cpu": "camera='corner2'",
    "collect --out set": "--task",
    "collect --out set --task reech-v3": "reach-v3",
    "collect --out set --task reach-v3 --episodes 0": "episodes=0",
    "collect --out set --task reach-v3 --seed 7": "seed=7",
    "collect --out set --task reach-v3 --workers 0": "--workers",
    "collect --out set --task reach-v3 --size 0": "size=0",
    "collect --out set --task reach-v3 --repeat 0": "repeat=0",
    "collect --out set --task rlbench/reach_target --task reach-v3": "two simulators",
    "collect --out set --task rlbench/reach_target --repeat 5": "repeat=5",
    "collect --out set --task rlbench/return": "no demonstrations",
    "play --task reach-v3 --device gpu": "device='gpu'",
    f"play --task push-v3 {MINE}": "task='push-v3' is not covered",
    "imagine --task raech-v3": "reach-v3",
    f"imagine --task memory/return {MINE}": "not covered by checkpoint",
    "imagine --task reach-v3 --agent exprt": "expert",
    "imagine --task reach-v3 --decisions 0": "--decisions",
    "imagine --task reach-v3 --out x.avi": ".mp4",
    f"{FIDELITY} --agent priro": "did you mean prior",
    f"{FIDELITY} --agent prior noise=loud": "noise takes a number",
    f"{FIDELITY} --agent prior noise=-1": "noise=-1.0",
    f"{FIDELITY} --agent prior random=2": "random=2.0",
    f"{FIDELITY} --agent prior --agent prior": "twice",
    f"{FIDELITY} noise=1": "need an agent",
    f"{FIDELITY} threshold=1": "threshold=1.0",
    f"fidelity --task assembly-v3 {MINE}": "not covered by checkpoint",
    f"{FIDELITY} --seed 99999 --episodes 2": "training data",
    f"{LEARN} --algo pppo": "did you mean ppo",
    f"train-agent --task push-v3 {MINE}": "task='push-v3' is not covered by checkpoint",
    f"{LEARN} decision=4": "decisions",
    f"{LEARN} algo=sac": "--algo",
    f"{LEARN} num_envs=0": "num_envs=0",
    f"{LEARN} horizon=0": "horizon=0",
    f"{LEARN} real=true sampler_steps=2": "sampler_steps=2 has no meaning",
    f"{LEARN} obs_mode=states": "obs_mode='states'",
    f"{LEARN} decisions=0": "decisions=0 must be at least 1",
    f"{LEARN} decisions=8 num_envs=2 horizon=4 sampler_steps=1 algo.n_steps=0": "algo='ppo' refuses its settings",
    f"{IMPROVE} --algo sac": "algo='sac' learns one task in imagination",
    f"{IMPROVE} algo.gamma=0.9": "override 'algo.gamma=0.9' needs an algorithm",
    f"{IMPROVE} --agent expert": "agent='expert' acts on the true state",
    f"{IMPROVE} seed=7": "seed=7 must be at least 100000",
    f"{IMPROVE} rounds=0": "rounds=0 must be at least 1",
    f"{IMPROVE} steps=-1": "train.video.fit.steps=-1 must be at least 0",
    f"{IMPROVE} --data nowhere": "data='nowhere' is not a dataset",
    f"{IMPROVE} --checkpoint metaworld50": "task='toy/left' is not covered by checkpoint='metaworld50'",
}


def test_mistyped_options_are_told_before_torch_is_imported(own_folder):
    code = (
        "import contextlib, io, json, sys; from sfvgen_plan.cli import main\n"
        "said = {}\n"
        "for line in json.load(sys.stdin):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        code = main(line.split())\n"
        "    said[line] = [code, out.getvalue(), err.getvalue(), 'torch' in sys.modules]\n"
        "print(json.dumps(said))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(list(EARLY)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, (status, out, err, imported) in json.loads(done.stdout).items():
        assert (status, out, imported) == (2, "", False), (line, err)
        assert err.startswith("error: ") and err.count("\n") == 1, (line, err)
        assert EARLY[line] in err, (line, err)
    assert list(own_folder.iterdir()) == []


def test_other_bad_input_is_told_before_anything_is_written(
    tiny_checkpoint, tmp_path_factory, own_folder, toy, refused, monkeypatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # players
    other = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("other") / "checkpoint"))
    card = other / "checkpoint.json"
    card.write_text(card.read_text().replace('"corner4"', '"corner2"'))
    for line, named in LATER.items():
        words = shlex.split(line.replace("TINY", str(tiny_checkpoint)).replace("CORNER2", str(other)))
        assert named in (found := refused(*words)), (line, found)
        assert list(own_folder.iterdir()) == [], line
