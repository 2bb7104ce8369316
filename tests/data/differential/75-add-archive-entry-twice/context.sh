mkdir d; echo one >d/in; ln -s in d/link; echo f >d/file; tar -cf twice.tar d/in d/link d/file
echo again >d/in; rm d/link; mkdir d/link; echo x >d/link/x; rm d/file; ln -s in d/file; tar -rf twice.tar d/in d/link d/file; rm -r d
