#!/bin/sh
# The box's sudo(8). Whoever runs here is root, so it becomes the command: no policy, no terminal of its own, and no process
# between the two, which would have to be told from the submission's.
user='' shell=''
while [ $# -gt 0 ]; do
    case $1 in
    --) shift && break ;;
    --user) user=${2-} && shift ;;
    --user=*) user=${1#*=} ;;
    --chdir | --chroot | --close-from | --command-timeout | --group | --host | --prompt | --role | --type) shift ;;
    --login | --shell) shell=yes ;;
    --*) ;;
    -*u) user=${2-} && shift ;;
    -*[CDghpRrTtU]) shift ;;
    -*[is]*) shell=yes ;;
    -*) ;;
    *=*) export "${1?}" ;;
    *) break ;;
    esac
    shift
done
if [ $# = 0 ]; then
    # As `sudo -v` and `sudo -k`, which ask for no command.
    [ "$shell" ] || exit 0
    set -- "${SHELL:-/bin/sh}"
fi
case $user in
'' | root | '#0') exec "$@" ;;
*) exec setpriv --reuid="${user#\#}" --regid="$(id -g "${user#\#}")" --init-groups "$@" ;;
esac
