truncate -s 1M hole; echo end >>hole; tar --format=gnu -S -cf sparse.tar hole; rm hole
