#!/bin/bash
# In the box, /srv is empty and the links lead nowhere. Followed on the machine, they lead to a marker.
rm -rf container_root
ln -s /srv/grade-attack-folder container_root
umount /dev/mqueue && rmdir /dev/mqueue
ln -s /srv/grade-attack-folder /dev/mqueue
[ -e /srv/grade-attack-folder ] && echo "REACHED the folder"
echo tried
