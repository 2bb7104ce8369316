mkdir d; echo in >d/in; tar --sort=name -caf a.tar.zst d; rm -r d
