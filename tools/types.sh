#!/bin/sh
# Runs mypy over the whole project. mypy cannot follow the package-dir mapping of pyproject.toml
# (envs/ is sfvgen_plan.envs), so it is shown a tree of links in which the packages lie where they are imported from.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
tree=.mypy_cache/links
rm -rf "$tree"
mkdir -p "$tree/sfvgen_plan"
for entry in sfvgen_plan/*; do ln -s "$root/$entry" "$tree/$entry"; done
for folder in envs agents benchmarks configs; do ln -s "$root/$folder" "$tree/sfvgen_plan/$folder"; done
cd "$tree"
"$root/.venv/bin/python" -m mypy --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" -p sfvgen_plan "$@"
