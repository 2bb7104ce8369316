seq 400000 >numbers; truncate -s 8M hole; truncate -s 4M mixed; echo end >>mixed; : >empty
