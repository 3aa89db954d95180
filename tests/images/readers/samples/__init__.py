"""Small files of the formats that are read, made for each test; `table.SAMPLES` lists them."""
