"""One file a recipe: listing this folder is listing them."""
