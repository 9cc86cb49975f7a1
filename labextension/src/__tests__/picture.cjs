// In place of an icon.
module.exports = '<svg></svg>';
