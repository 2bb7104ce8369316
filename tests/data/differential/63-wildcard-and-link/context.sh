echo f >file; mkdir dir; echo d >dir/d; ln -s file lfile; ln -s dir ldir
