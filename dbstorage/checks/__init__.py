"""What `dbstorage check` tries: the servers, their settings and rights, and a trial of everything that is written."""
