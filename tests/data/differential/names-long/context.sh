n=$(printf 'x%.0s' $(seq 255)); mkdir tree; echo l >tree/$n; p=tree; for i in $(seq 60); do p=$p/directory-$i; done; mkdir -p $p; echo deep >$p/f
ln -s $(printf 'a/%.0s' $(seq 100))b tree/longlink
