#!/usr/bin/env bash
# Make the hashed requirement files anew from pyproject.toml. They name no index. Needs pip-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --allow-unsafe --generate-hashes --strip-extras --no-header --no-annotate
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options)

compile() {  # compile OUTPUT [pip-compile arguments]: then leave out the project itself, which has no hash
  local output=$1
  shift
  pip-compile "${options[@]}" --output-file "$output" "$@"
  sed -i -e '/^# WARNING: pip install/d' -e '/^# Consider using a hashable/d' -e '/^carina @ /d' "$output"
}

compile requirements/dev.txt --extra dev pyproject.toml
grep -E '^[a-zA-Z0-9._-]+==' requirements/dev.txt | sed 's/ .*//' > requirements/.constraints
for extra in hub node demo fuzz; do
  compile "requirements/$extra.txt" --extra "$extra" --constraint requirements/.constraints pyproject.toml
done
compile requirements/base.txt --constraint requirements/.constraints pyproject.toml
rm requirements/.constraints
printf 'hatchling\neditables\n' | compile requirements/build.txt -
