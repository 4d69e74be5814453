"""Between disk and objects: folders, hub repositories, weight files, indexes and configurations."""
