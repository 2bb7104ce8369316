# Adds to base what builders mount over, so that what they leave of it is no difference, and links of every kind.
mkdir base/run
for name in hosts hostname resolv.conf motd; do
    echo "$name" >"base/etc/$name"
done
ln -s /opt/old base/toold
ln -s etc/motd base/tofile
ln -s nowhere base/dangling
ln -s ../../opt base/upward
