#!/bin/bash
find / -xdev -maxdepth 5 -path '*grade-attack-neighbour*' -type f 2>/dev/null | sed 's/^/REACHED /'
for place in /srv /opt /var/lib /usr/src ''; do
    echo "#include \"$place/grade-attack-neighbour/task1/main.c\"" >/tmp/includes.c
    gcc -fsyntax-only /tmp/includes.c 2>&1 | grep -q "this is a neighbour's" && echo "REACHED $place by #include"
done
# A password's hash begins with a dollar.
cut -d : -f 2 /etc/shadow /etc/shadow- /etc/gshadow 2>/dev/null | grep -q '[$]' && echo "REACHED passwords"
for key in /etc/ssh/ssh_host_*_key /etc/ssl/private/*; do [ -e "$key" ] && echo "REACHED $key"; done
for program in grade conductor simple_container service-orchestrator; do command -v $program >/dev/null && echo "REACHED $program"; done
for place in /home /root /opt /srv /mnt /media; do
    find $place -mindepth 1 -maxdepth 2 -type f 2>/dev/null | grep -v '^/home/student/' | sed 's/^/REACHED /'
done
echo tried
