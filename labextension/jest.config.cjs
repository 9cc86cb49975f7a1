module.exports = {
  testEnvironment: '<rootDir>/tools/environment.cjs',
  testMatch: ['<rootDir>/src/**/__tests__/*.spec.ts'],
  transform: { '\\.[jt]sx?$': ['ts-jest', { tsconfig: { allowJs: true, esModuleInterop: true, jsx: 'react', isolatedModules: true } }] },
  transformIgnorePatterns: ['/node_modules/(?!(@jupyterlab|@lumino|@jupyter|@codemirror|lib0|y-protocols|yjs|nanoid|@microsoft|exenv-es6)/)'],
  moduleNameMapper: { '\\.css$': '<rootDir>/src/__tests__/nothing.cjs', '\\.svg$': '<rootDir>/src/__tests__/picture.cjs' }
};
