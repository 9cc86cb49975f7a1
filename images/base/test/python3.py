import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import integrate

x = np.linspace(0, np.pi, 101)
assert abs(integrate.simpson(np.sin(x), x=x) - 2) < 1e-6
pd.DataFrame({"sine": np.sin(x)}, index=x).plot()
plt.show()
