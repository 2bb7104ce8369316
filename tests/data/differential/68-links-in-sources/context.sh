mkdir dir tree; echo f >file; echo i >dir/inner; ln -s file lfile; ln -s dir ldir; ln -s /file labs; ln -s ../../file lup
ln -s ../file tree/rel; ln -s /etc/passwd tree/abs; ln -s nowhere tree/dangling; ln -s ldir/inner chain; ln -s ../dir tree/todir
