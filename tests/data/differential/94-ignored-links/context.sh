mkdir dir; echo x >dir/x; ln -s dir link; ln -s dir/x file
