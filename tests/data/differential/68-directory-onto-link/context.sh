mkdir -p tree/tokeep; echo new >tree/tokeep/new
