# Runs in the machine, as root, in the folder of what was handed in. What is written to the second disk is all that gets out.
mkdir out
mapfile -d '' -t words <arguments
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ./grade "${words[@]}" --record out/runs --format json=out/report.json \
    >/dev/null 2>out/stderr </dev/null
echo "$?" >out/code
sync -f out
tar --create --file=/dev/vdc --directory=out --sort=name .
echo whole | dd of=/dev/vdc bs=5 seek="$(($(blockdev --getsize64 /dev/vdc) - 5))" oflag=seek_bytes conv=notrunc status=none
sync /dev/vdc
