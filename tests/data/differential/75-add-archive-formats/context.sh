long=$(printf 'n%.0s' $(seq 90)); mkdir -p d/$long/$long; echo in >d/$long/$long/f; echo in >d/in; ln -s in d/soft; mkdir -m 1777 d/sticky; chmod 4755 d/in
for f in ustar gnu pax; do tar --format=$f --sort=name --numeric-owner -cf $f.tar d; done
tar --format=v7 -cf v7.tar d/in d/soft d/sticky; rm -r d
