echo x >x
