"""The LSTM layers: their kernels, dropout, and how a batch is divided between cores."""
