#!/usr/bin/env bash
# docs/options.md from the programs' own tables: tools/options.sh BIN_FOLDER > docs/options.md
set -euo pipefail
bin=$1
echo '# Options'
echo
echo 'Written by `make options` from the tables in the programs; do not edit. Precedence: `--name=value` on the command'
echo 'line, the environment (`RIACHO_NAME`), `name = value` lines of the file given with `--config`, the default.'
for service in gateway storage replication coordinator transform; do
    printf '\n## riacho-%s\n\n' "$service"
    "$bin/riacho-$service" --options-markdown
done
