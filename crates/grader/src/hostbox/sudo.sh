#!/bin/sh
# The box's sudo(8). Whoever runs here is root, so it becomes the command: no policy, no terminal of its own, and no process
# between the two, which would have to be told from the submission's.
user=
while [ $# -gt 0 ]; do
    case $1 in
    -u | --user) user=${2-} && shift ;;
    --user=*) user=${1#*=} ;;
    -[CDghpRrTtU]) shift ;;
    --) shift && break ;;
    -*) ;;
    *=*) export "${1?}" ;;
    *) break ;;
    esac
    shift
done
# As `sudo -v` and `sudo -k`, which ask for no command.
[ $# -gt 0 ] || exit 0
case $user in
'' | root | '#0') exec "$@" ;;
*) exec setpriv --reuid="${user#\#}" --regid="$(id -g "${user#\#}")" --init-groups "$@" ;;
esac
