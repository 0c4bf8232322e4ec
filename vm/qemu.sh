# shellcheck shell=bash
# How qemu is started on this machine, whatever it can do. To be sourced.

# Prints the words for a guest of architecture $1: the program, the machine, how its processor is provided.
qemu_for() {
    case $1 in
    amd64) echo "qemu-system-x86_64 $(processor qemu-system-x86_64 Nehalem)" ;;
    arm64) echo "qemu-system-aarch64 -machine virt,gic-version=max $(processor qemu-system-aarch64 cortex-a72 -machine virt)" ;;
    esac
}

has_qemu() {
    local program
    read -r program _ < <(qemu_for "$1")
    command -v "$program" >/dev/null
}

# By the hardware when KVM works here and VM_ACCEL is not tcg, else by emulation of processor $2. A plain old one is faster to emulate than one
# with every feature.
processor() {
    if [[ ${VM_ACCEL:-} != tcg ]] && kvm_works "$1" "${@:3}"; then echo "-accel kvm -cpu host"; else echo "-accel tcg,thread=multi -cpu $2"; fi
}

# That /dev/kvm is there says little: inside a virtual machine it may be, and not work. A guest of another
# architecture it never helps.
kvm_works() {
    [[ -w /dev/kvm ]] && timeout 10 "$@" -accel kvm -cpu host -nodefaults -display none -S -monitor stdio <<<quit >/dev/null 2>&1
}

# What its user could do about that, if anything.
why_no_kvm() {
    if [[ $1 == "$(dpkg --print-architecture)" && -e /dev/kvm && ! -w /dev/kvm ]]; then
        echo ": you may not use /dev/kvm; sudo adduser $(id -un) kvm, then log in anew"
    fi
}
