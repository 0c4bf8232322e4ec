#!/bin/bash
# Stands for debootstrap(8) in the grader's box: fills TARGET with a small root made of this machine's own programs.
set -e

programs=(
    bash sh env ls cat echo printf sleep true false test id whoami hostname uname date ps top kill pgrep mount umount df
    stat readlink realpath dirname basename touch mkdir rmdir rm cp mv ln chmod chown find grep sed cut tr sort uniq
    head tail wc seq tee ip ss ping nc curl wget python3 perl awk mawk gawk dd mknod mktemp sync sha256sum md5sum
    which apt-get apt dpkg nproc free nsenter unshare lsns findmnt setsid timeout
)
# Too big for what they are worth here.
left_out=' python3 perl dpkg '

if [[ -e /proc/self/fd/3 ]]; then
    told() { printf '%s\n' "$@" >&3; }
else
    told() { :; }
fi

words=()
while (($#)); do
    case $1 in
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

files=()
for name in "${programs[@]}"; do
    [[ $left_out == *" $name "* ]] && continue
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
