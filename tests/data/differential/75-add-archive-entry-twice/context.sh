mkdir d; echo one >d/in; tar -cf twice.tar d/in; echo again >d/in; tar -rf twice.tar d/in; rm -r d
