"""What is said in words: messages, tables, HTML, and which similar name may have been meant."""
