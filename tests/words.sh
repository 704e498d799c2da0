#!/bin/bash
# words.sh: finds words that this project does not use in its texts, and prints where they are.
#
# The texts are plain technical English: short sentences, the subject first, the standard term of
# the field. All text files are read: sources, tests, scripts and pages. Only licences, lists of
# dependencies and this file are left out.
set -u
cd "$(dirname "$0")/.." || exit

# word -> what to write instead
words=(
    'answer(s|ed|ing)?:return'
    'whoever:a process that, a caller that'
    '(some|no|any|every)body|(some|any|every)one:name the process, thread or caller'
    'anew:again'
    'for ever:without limit, until …'
    'told|tells?:is notified, returns, shows'
    'says?|said:contains, returns, means'
    'speaks?|spoke:uses, supports'
    'in vain:without a result, until the time limit'
    'of itself:leave it out'
    'hangs? on|hang:is attached to'
    'to be had:available'
    'in hand:manual'
    'laid|lays:initialised'
    'bury|buried|unbury:delete'
    'so many|so long:a number of, N'
    'pulse|bell:background thread, commit signal'
)

texts=$(mktemp) || exit
trap 'rm -f "$texts"' EXIT
git ls-files -z --cached --others --exclude-standard |
    grep -zvE '(^|/)(LICENSE[^/]*|[^/]*\.lock|package-lock\.json|go\.(mod|sum)|[^/]*\.mdb)$|^tests/words\.sh$' >"$texts"
if ! [ -s "$texts" ]; then
    echo "words.sh: git lists no files" >&2
    exit 2
fi

failed=0
for entry in "${words[@]}"; do
    found=$(xargs -0 grep -sHInwiE "(${entry%%:*})" <"$texts")
    if [ -n "$found" ]; then
        printf '%s\n' "$found" "    instead of ${entry%%:*}: ${entry#*:}"
        failed=1
    fi
done
exit $failed
