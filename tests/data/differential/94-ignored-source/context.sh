echo x >secret
