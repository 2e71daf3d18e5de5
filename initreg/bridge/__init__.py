"""From the weights of one framework to the variables of another: which array is meant for which
variable, and in what order of axes.

It knows names, shapes and layers, and neither values nor files. :func:`initreg.map` derives a rule
file with it:

========================= =====================================================================
:mod:`~.layers`           the layers of a source and of a target, each with its weights
:mod:`~.roles`            what the last part of a name says: kernel, bias, mean
:mod:`~.words`            the words and numbers of names, and how alike they are
:mod:`~.conversions`      how a weight of one framework becomes that of another
:mod:`~.altering`         arrays that are no weights as they stand, because others change them
:mod:`~.flattening`       dense kernels of a target that does not know what it flattens
:mod:`~.fusing`           arrays that hold several weights, and kernels that do
:mod:`~.fitting`          whether one layer can be another one
:mod:`~.structure`        which groups of layers are numbered alike
:mod:`~.ordering`         which layers come one after the other
:mod:`~.pairing`          which layer of the source is which one of the target
:mod:`~.conventions`      in which order a source stores the axes of square kernels
:mod:`~.deriving`         all of this, for the arrays and variables of two models
:mod:`~.lines`            what is found out of one variable
:mod:`~.mapped`           the result
:mod:`~.text`             the result as a rule file
========================= =====================================================================
"""
