"""What is checked of every case before anything is written."""
