mkdir -p tree; echo new >tree/link; ln -s elsewhere tree/file
