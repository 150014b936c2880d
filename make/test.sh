#!/bin/sh
# The whole suite at once, or what ARGS say one after the other. Most tests wait for programs that run
# in real time, more of them than there are cores. So a few that failed are asked once more, with the
# machine for themselves; their names are the last thing said, because each is a fault to be found.
set -eu
cd "$(dirname "$0")/.."

few=3 # more than that is no accident
python=.venv/bin/python

[ -z "${ARGS:-}" ] || exec $python -m pytest $ARGS

status=0
# The tests of a file share what they started, so they stay together.
$python -m pytest -n $(($(nproc) * 2)) --maxprocesses 12 --dist loadfile \
    --no-loadscope-reorder || status=$?
[ $status -eq 1 ] || exit $status # 0: all passed; from 2 on pytest itself did not come to its end

failed=$($python -m json.tool build/pytest/v/cache/lastfailed | sed -n 's/^ *"\(.*\)": true,*$/  \1/p')
[ -n "$failed" ] && [ "$(printf '%s\n' "$failed" | wc -l)" -le $few ] || exit 1
printf '\nOnce more, one after the other:\n%s\n\n' "$failed"
$python -m pytest --last-failed --last-failed-no-failures none
printf '\nPassed alone, but failed among the others (see above):\n%s\n' "$failed"
