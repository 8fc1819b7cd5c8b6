"""Training: supervised references for the segmenters that were trained elsewhere.

`recipes` holds what is trained and how long, `nnunet_raw` writes a cohort as nnU-Net reads it,
`nnunet_plan` plans and preprocesses through the package, `nnunet_train` runs its trainer,
`release` keeps the weights with a card and a log. Torch is imported where it is used only.
"""
