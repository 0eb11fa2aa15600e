[playlist]
File1=http://127.0.0.1:PORT/a.mp3
NumberOfEntries=1
