# What services need of this machine: a C compiler with make, perl, python3 with a small flask and requests. Read by the
# box's debootstrap with $target set; each function says nothing and copies what is there.

# put PATH…: copies files, links followed, with the libraries they need, to their places in the image.
put() {
    local path
    { printf '%s\n' "$@"; ldd "$@" 2>/dev/null | grep -o '/[^ :]*'; } | sort -u | while read -r path; do
        [[ -e $path && ! -d $path && ! -e $target$path ]] && printf '%s\n' "$path"
    done | xargs -r cp -L --parents -t "$target" 2> >(grep -v 'specified more than once' >&2)
}

put_compiler() {
    local cc=$1 path name files=()
    type -P gcc make >/dev/null || return 0
    for name in gcc cc make as ld ar nm strip sh; do
        path=$(type -P "$name") && files+=("$path")
    done
    for name in "$cc" collect2 lto-wrapper; do
        path=$(gcc -print-prog-name="$name") && files+=("$path")
    done
    for name in crt1.o Scrt1.o crti.o crtn.o crtbegin.o crtend.o crtbeginS.o crtendS.o libgcc.a libgcc_s.so libgcc_s.so.1 \
        libgcc_eh.a libc.so libc_nonshared.a libm.so libpthread.a libdl.a librt.a liblto_plugin.so; do
        path=$(gcc -print-file-name="$name")
        [[ $path == /* ]] && files+=("$(realpath -s "$path")")
    done
    # What a linker script such as libc.so or libm.so names.
    for path in "${files[@]}"; do
        [[ $path == *.so ]] && grep -aoE '/[^ ()]+\.(so[.0-9]*|a)' "$path" 2>/dev/null
    done | sort -u >"$target/tmp/named"
    mapfile -t -O "${#files[@]}" files < <(grep '^/' "$target/tmp/named")
    rm -f "$target/tmp/named"
    put "${files[@]}"
    cp -rL --parents -t "$target" "$(realpath -s "$(gcc -print-file-name=include)")"
    for path in /usr/include/*.h /usr/include/{asm-generic,linux,sys,net,netinet,arpa,bits,gnu,rpc,x86_64-linux-gnu,aarch64-linux-gnu}; do
        [[ -e $path ]] && printf '%s\n' "$path"
    done | xargs -r cp -rL --parents -t "$target"
    if [[ $cc == cc1plus ]]; then
        put "$(type -P g++)" "$(gcc -print-file-name=libstdc++.so)"
        cp -rL --parents -t "$target" /usr/include/c++
    fi
}

# perl-base alone, which is all that a Debian has from the start.
put_perl() {
    put "$(type -P perl)"
    dpkg -L perl-base | grep -E '/perl-base$' | xargs -r cp -rL --parents -t "$target"
}

# What is compiled is copied with its date, by which python3 knows that it still fits.
put_python() {
    local python library path
    python=$(type -P python3) || return 0
    library=$("$python" -I -c 'import os; print(os.path.dirname(os.__file__))') || return 0
    put "$(realpath "$python")"
    [[ -e $target$python ]] || cp -L "$python" "$target$python"
    (cd / && find "${library#/}" \( -name test -o -name tests -o -name idlelib -o -name lib2to3 -o -name ensurepip \
        -o -name pydoc_data -o -name tkinter -o -name turtledemo -o -name 'config-*' -o -name site-packages -o -name dist-packages \) -prune \
        -o -type f \( -name '*.py' -o -name '*.so' -o -name '*.pyc' \) -print | xargs cp -pL --parents -t "$target")
    for path in "$library"/lib-dynload/{_ssl,_hashlib,_json,_queue,_bz2,_lzma,_ctypes,_uuid,_contextvars,_asyncio,_multiprocessing}.*.so; do
        [[ -e $path ]] && printf '%s\n' "$path"
    done | while read -r path; do put "$path"; done
    cp /usr/share/debootstrap/packages/{flask,requests}.py "$target$library/"
}
