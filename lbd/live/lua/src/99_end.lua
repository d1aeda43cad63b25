return M
