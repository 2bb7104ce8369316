mkdir d; tar -cf a.tar d; rmdir d
