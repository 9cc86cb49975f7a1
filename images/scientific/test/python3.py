import bokeh, bottleneck, cloudpickle, cython, dask.array, dill, h5py, ipympl, jupyterlab_git, numexpr  # noqa
import altair, bs4, openpyxl, patsy, skimage, sqlalchemy, sympy, tables, xlrd  # noqa
import matplotlib.pyplot as plt
import numba
import numpy as np
import seaborn
import sklearn.linear_model
import statsmodels.api


@numba.njit
def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


assert total(np.arange(10.0)) == 45
x = np.arange(20.0).reshape(-1, 1)
assert abs(sklearn.linear_model.LinearRegression().fit(x, 3 * x[:, 0]).coef_[0] - 3) < 1e-9
assert abs(statsmodels.api.OLS(3 * x[:, 0], x).fit().params[0] - 3) < 1e-9
seaborn.regplot(x=x[:, 0], y=3 * x[:, 0])
plt.show()
