"""What trainers need: starting from weights, saving and going on. One module for each trainer.

They are the only modules of the kernel that import a framework, each its own, and nothing else in
the kernel imports them, but varmanip, inside of one function.
"""
