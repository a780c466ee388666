"""Operations with one signature and several forms: plain PyTorch always, native code where it is faster."""
