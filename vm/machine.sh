# shellcheck shell=bash disable=SC2029,SC2054
# The virtual machine as vm/inside and the tests use it: a throwaway copy, started in seconds. To be sourced.
# VM_ARCH says which, amd64 or arm64; without it, this machine's own.
#
#   start_machine              a fresh copy; sets nothing outside this shell and ends with it
#   in_machine USER COMMAND…   runs it there; its stdin, stdout, stderr and exit code are the command's
#   copy_in SRC DST            a file or folder, as root
#   copy_out SRC DST
#   attach_disk FILE           one more disk, raw; what is written to it goes with the copy
#   reboot_machine             the same copy, its disk as it is now
#   stop_machine               nothing of it stays; also done when the shell exits
#
# The disk is never written to: qemu keeps what changes in a file that has no name. A boot takes half a minute under
# emulation, so it is done once: a machine that has just booted is frozen to disk, memory and all ("ready"), and each copy
# goes on from there. Direct kernel boot with a small initrd skips firmware and boot loader.
#
# How one gets in: a key made for the frozen machine, handed to systemd as a credential on the kernel's command line
# (kernel-command-line(7), systemd-tmpfiles(8) `tmpfiles.extra`). So no key is in the image that people get.

# shellcheck source=vm/qemu.sh
source "$(dirname "${BASH_SOURCE[0]}")/qemu.sh"

vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath --canonicalize-missing "${VM_OUT:-$vm/out}")
arch=${VM_ARCH:-$(dpkg --print-architecture)}
image=$out/base-$arch
ready=$out/ready-$arch

start_machine() {
    make_ready
    open_machine -incoming "exec:cat '$ready/memory'" -drive "file=$ready/disk.qcow2,if=virtio,snapshot=on"
    # It was stopped when its memory was written, and so it is when the memory has been read.
    answer_of_qemu "info status" "VM status: paused" 60 >/dev/null || machine_failed "could not be thawed"
    tell_qemu cont
    wait_until_reachable 120
    # It believes it is still the moment it was frozen.
    in_machine root date --set="@$(date +%s)" >/dev/null </dev/null
}

in_machine() {
    local user=$1
    shift
    # ssh joins its arguments with blanks and a shell takes them apart again: quoted, they arrive as they were.
    local quoted=
    # The second line: of a command killed by a signal, ssh alone would say 255; a shell says 128 + signal.
    if (($#)); then quoted="$(printf '%q ' "$@")"$'\n''exit $?'; fi
    # In the background, or a signal to this shell would wait for the command to end.
    ssh "${ssh_options[@]}" "$user@machine" "$quoted" <&0 &
    wait "$!"
}

copy_in() { scp -qrp "${ssh_options[@]}" "$1" "root@machine:$2"; }
copy_out() { scp -qrp "${ssh_options[@]}" "root@machine:$1" "$2"; }

attach_disk() {
    # In quotes for its monitor, and a comma doubled for the option.
    tell_qemu "drive_add 0 \"if=none,id=extra,format=raw,snapshot=on,file=${1//,/,,}\""
    tell_qemu "device_add virtio-blk-pci,drive=extra,id=extra"
    answer_of_qemu "info block" 'extra*: *' 60 >/dev/null || machine_failed "does not take the disk $1"
}

reboot_machine() {
    local before
    before=$(in_machine root cat /proc/sys/kernel/random/boot_id </dev/null)
    in_machine root systemctl reboot </dev/null || true
    local deadline=$((SECONDS + 300))
    until [[ $(in_machine root cat /proc/sys/kernel/random/boot_id 2>/dev/null </dev/null) != @("$before"|"") ]]; do
        ((SECONDS < deadline)) || machine_failed "did not come back within 300 s after a reboot"
        reset_after_panic
        sleep 1
    done
}

stop_machine() {
    if [[ ! ${machine_dir:-} ]]; then return; fi
    # Its disk is a throwaway: nothing to save, so no shutdown.
    if [[ ${machine_pid:-} ]]; then
        kill -KILL "$machine_pid" 2>/dev/null || true
        wait "$machine_pid" 2>/dev/null || true
    fi
    rm -rf "$machine_dir"
    machine_dir='' machine_pid=''
}

# ---- the frozen machine -------------------------------------------------------------------------------------------------

# Boots the image once and freezes it, unless that was done for this very image with this very qemu.
make_ready() {
    "$vm/build" base "$arch" >/dev/null || exit 125
    exec {lock}>"$ready.lock"
    flock "$lock"
    if [[ $(cat "$ready/inputs" 2>/dev/null) != "$(inputs_of_ready)" ]]; then
        try_kvm
        echo "vm: booting once, to start in seconds from then on" >&2
        rm -rf "$ready"
        mkdir -p "$ready"
        ssh-keygen -q -t ed25519 -N '' -C vm/inside -f "$ready/key"
        qemu-img create -q -f qcow2 -F qcow2 -b "$image.qcow2" "$ready/disk.qcow2"
        open_machine -drive "file=$ready/disk.qcow2,if=virtio" \
            -append "$boot_with systemd.set_credential_binary=tmpfiles.extra:$(let_key_in | base64 --wrap=0)"
        wait_until_reachable 600
        in_machine root systemctl is-system-running --wait >/dev/null </dev/null || true
        freeze
        stop_machine
        inputs_of_ready >"$ready/inputs"
    fi
    exec {lock}>&-
}

inputs_of_ready() { cat "$image.inputs" <(printf '%s\n' "${qemu[@]}") <("${qemu[0]}" --version) | sha256sum; }

# In the words of tmpfiles.d(5).
let_key_in() {
    local user home
    for user in root cs695; do
        home=$([[ $user == root ]] && echo /root || echo "/home/$user")
        echo "d $home/.ssh 0700 $user $user"
        echo "f $home/.ssh/authorized_keys 0600 $user $user - $(cat "$ready/key.pub")"
    done
}

freeze() {
    in_machine root sync </dev/null
    ssh "${ssh_options[@]}" -O exit root@machine 2>/dev/null || true
    tell_qemu stop
    tell_qemu "migrate_set_parameter max-bandwidth 100g"
    tell_qemu "migrate \"exec:cat >'$ready/memory'\""
    answer_of_qemu "info status" 'VM status: paused (postmigrate)' 120 >/dev/null || machine_failed "could not be frozen"
}

# ---- qemu ---------------------------------------------------------------------------------------------------------------

case $arch in
amd64) console=ttyS0 ;;
arm64) console=ttyAMA0 ;;
*) echo "vm: there is no machine for '$arch': VM_ARCH may be amd64 or arm64" >&2 && exit 2 ;;
esac
# Nobody spies in a throwaway machine, and where a processor is emulated each call of the kernel would pay for it.
boot_with="root=/dev/vda3 ro console=$console quiet mitigations=off"

# Before it is asked what it can do.
has_qemu "$arch" || "$vm/provision" --vm "$arch" >&2 || exit 125
choose_qemu() {
    # shellcheck disable=SC2207 # words are meant
    qemu=(
        $(qemu_for "$arch") -m 2048 -smp 2
        -nodefaults -vga none -display none -device virtio-rng-pci
        -device virtio-net-pci,netdev=net
        -kernel "$image.vmlinuz" -initrd "$image.initrd" -append "$boot_with"
    )
}
# Left by try_kvm.
no_kvm=$out/no-kvm
if [[ -e $no_kvm ]]; then export VM_ACCEL=tcg; fi
choose_qemu

# In a virtual machine KVM may be there, start, and fail at an instruction of the kernel's. Then the processor is emulated.
try_kvm() {
    local said
    if [[ " ${qemu[*]} " != *' kvm '* ]]; then return; fi
    said=$( (sleep 15 && printf 'info status\nquit\n') | timeout 30 "${qemu[@]}" -netdev user,id=net -monitor stdio 2>/dev/null) || true
    if [[ $said != *'VM status: running'* ]]; then
        touch "$no_kvm"
        export VM_ACCEL=tcg
        choose_qemu
    fi
}

open_machine() {
    machine_dir=$(mktemp -d /tmp/docker-lite-vm.XXXXXX)
    trap stop_machine EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkfifo "$machine_dir"/monitor.{in,out}
    # Dies with this shell, even a killed one. Port 0: the kernel picks a free one, and no other machine can see it.
    setpriv --pdeathsig KILL "${qemu[@]}" \
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:0-:22 \
        -serial "file:$machine_dir/console" \
        -chardev "pipe,id=monitor,path=$machine_dir/monitor" -mon monitor "$@" </dev/null 2>"$machine_dir/qemu" &
    machine_pid=$! resets=0
    exec {to_qemu}<>"$machine_dir/monitor.in" {from_qemu}<>"$machine_dir/monitor.out"

    local port
    port=$(answer_of_qemu "info usernet" '*HOST_FORWARD*' 60 | awk '{ print $4 }') || machine_failed "did not start"
    ssh_options=(-F none -i "$ready/key" -o Hostname=127.0.0.1 -o Port="$port" -o BatchMode=yes -o LogLevel=ERROR
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20
        -o ControlMaster=auto -o ControlPath="$machine_dir/%r" -o ControlPersist=yes)
}

wait_until_reachable() {
    local deadline=$((SECONDS + $1))
    until in_machine root true 2>/dev/null </dev/null; do
        kill -0 "$machine_pid" 2>/dev/null || machine_failed "ended"
        ((SECONDS < deadline)) || machine_failed "cannot be reached by ssh after $1 s"
        reset_after_panic
        sleep 0.2
    done
}

# On an emulated processor the kernel dies now and then in its first seconds, before any of our programs has run.
reset_after_panic() {
    local panics
    panics=$(grep --text --count '\] Kernel panic' "$machine_dir/console") || true
    if ((panics > resets)); then
        ((panics < 3)) || machine_failed "panicked $panics times"
        resets=$panics
        echo "vm: the kernel of the virtual machine panicked; resetting it. The console said last:" >&2
        last_words 40 >&2
        tell_qemu system_reset
    fi
}

tell_qemu() { echo "$1" >&"$to_qemu"; }

# Asks again and again until a line of the answer is like $2, a pattern, at most $3 seconds; prints that line.
answer_of_qemu() {
    local question=$1 wanted=$2 deadline=$((SECONDS + $3)) line
    while ((SECONDS < deadline)) && kill -0 "$machine_pid" 2>/dev/null; do
        tell_qemu "$question"
        while read -r -t 0.3 line <&"$from_qemu"; do
            # shellcheck disable=SC2053 # a pattern is meant
            if [[ ${line%$'\r'} == $wanted ]]; then echo "$line" && return; fi
        done
    done
    return 1
}

machine_failed() {
    {
        echo "vm: the virtual machine $*; qemu and the console said last:"
        last_words 5
    } >&2
    exit 125
}

last_words() { tail -n "$1" "$machine_dir/qemu" "$machine_dir/console" 2>/dev/null; }
