"""Scanner physics: CT, MR and PET images of an anatomy."""
