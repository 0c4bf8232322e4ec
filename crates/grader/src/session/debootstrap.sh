#!/bin/bash
# Stands for debootstrap(8) in the grader's box: fills TARGET with a small root made of this machine's own programs.
set -e

# The packages that every Debian has, without perl and dpkg, which are big; then what tools of students call besides.
essential=(
    bash bsdutils coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin login mawk mount ncurses-bin passwd sed
    sysvinit-utils tar util-linux
)
programs=(top ps kill pgrep free ip ss ping nc curl wget awk gawk which apt-get apt nproc)

told() { :; }
words=()
while (($#)); do
    case $1 in
    # The progress of an installer, on descriptor 3. Without this option it is the caller's.
    --debian-installer) told() { printf '%s\n' "$@" >&3; } ;;
    --arch | --include | --exclude | --components | --variant | --keyring | --extractor | --cache-dir | --make-tarball | --unpack-tarball)
        shift
        ;;
    --print-debs | --download-only) exit 0 ;;
    -*) ;;
    *) words+=("$1") ;;
    esac
    shift
done
target=${words[1]:-}
if [[ -z $target ]]; then
    echo 'E: You must specify a suite and a target.' >&2
    exit 1
fi

told 'P: 0 1 DOWNDEBS' 'PF: Downloading packages'
mkdir -p "$target"
target=$(cd "$target" && pwd)
chmod 755 "$target"
# Where /bin is a link into /usr here, it is one there.
mkdir -p "$target"/usr/{bin,sbin,lib,local,share}
for name in bin sbin lib lib32 lib64; do
    if [[ -L /$name ]]; then
        mkdir -p "$target/usr/$name"
        cp -P "/$name" "$target/$name"
    elif [[ -d /$name ]]; then
        mkdir -p "$target/$name"
    fi
done
mkdir -p "$target"/{boot,dev/pts,dev/shm,etc/apt,home,media,mnt,opt,proc,root,run,srv,sys,tmp,var/{cache/apt/archives,lib/dpkg,log,tmp}}
chmod 1777 "$target"/{tmp,var/tmp}
chmod 700 "$target/root"

mapfile -t files < <(dpkg -L "${essential[@]}" 2>/dev/null | grep -E '^(/usr)?/s?bin/.')
for name in "${programs[@]}"; do
    path=$(type -P "$name") && files+=("$path")
done
mapfile -t libraries < <(ldd "${files[@]}" 2>/dev/null | grep -o '/[^ :]*' | sort -u)
for path in "${files[@]}" "${libraries[@]}"; do
    # A name may be a link by way of /etc/alternatives: what it leads to is copied under it.
    [[ -e $path && ! -e $target$path ]] && printf '%s\n' "$path"
done | sort -u | xargs cp -L --parents -t "$target"
[[ -d /usr/share/terminfo || -d /lib/terminfo ]] && for path in /lib/terminfo/{x/xterm,d/dumb,l/linux} /usr/share/terminfo/{x/xterm,d/dumb,l/linux}; do
    [[ -e $path ]] && cp -L --parents -t "$target" "$path"
done

# What the submission's services will ask apt for, when they do.
packages=/usr/share/debootstrap/packages
if [[ -e $packages/wanted ]]; then
    . "$packages/packages.sh"
    while read -r package; do put_$package; done <"$packages/wanted"
fi

echo 'root:x:0:0:root:/root:/bin/bash' >"$target/etc/passwd"
echo 'root:x:0:' >"$target/etc/group"
echo '127.0.0.1 localhost' >"$target/etc/hosts"
hostname >"$target/etc/hostname"
cp -L /etc/resolv.conf "$target/etc/resolv.conf"
printf 'PRETTY_NAME="A small root of the host'"'"'s programs"\nNAME="Debian GNU/Linux"\nID=debian\n' >"$target/etc/os-release"
echo 'passwd: files' >"$target/etc/nsswitch.conf"
told 'P: 1 1 DOWNDEBS'
echo 'I: Base system installed successfully.'
